//! The settings of the allocator, which it looks for under a name of its own before `main`.
#![allow(unsafe_code)]

/// Two arenas, as many as threads allocate much: the engine's and the packet filter's. What a commit needed for a
/// moment goes back to the kernel after a second.
// SAFETY: nothing else has this name, which is how jemalloc finds its settings: a pointer to a string that ends with
// a zero octet and is never written.
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 47] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
