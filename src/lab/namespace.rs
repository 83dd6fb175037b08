//! Network namespaces, each the home of one thread.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::LabError;

/// Work for the thread of a namespace.
type Job = Box<dyn FnOnce() + Send>;

/// Makes namespaces possible for an ordinary user: puts the process in a user namespace where it is root.
///
/// Must be called before the process has a second thread; the kernel refuses it later. Does nothing more than enter a
/// network namespace of its own when the process may already do that.
pub fn enter_user_namespace() -> Result<(), LabError> {
    let (user, group) = (geteuid(), getegid());
    if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(LabError::Forbidden)?;
    let write = |name: &str, text: String| {
        let path = format!("/proc/self/{name}");
        fs::write(&path, text).map_err(|error| LabError::io(path, error))
    };
    // Without this a user might leave groups that deny access; the kernel asks for it.
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}

/// A network namespace and the thread that lives in it. Both end with this value.
pub struct Namespace {
    name: &'static str,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    file: OwnedFd,
}

impl Namespace {
    /// A new namespace with its `lo` down and nothing else.
    ///
    /// Fails with [`LabError::Forbidden`] without the right to do so; see [`enter_user_namespace`].
    pub fn new(name: &'static str) -> Result<Self, LabError> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (made, answer) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                let _ = made.send(unshare_network());
                for job in inbox {
                    job();
                }
            })
            .map_err(|error| LabError::io("a thread", error))?;
        let file = answer
            .recv()
            .expect("the thread answers before anything else")?;
        Ok(Self {
            name,
            jobs: Some(jobs),
            thread: Some(thread),
            file,
        })
    }

    /// The name for messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Refers to the namespace as long as this value lives.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `work` inside the namespace and waits for it. Threads that it starts are inside, too, and so are sockets that it
    /// opens, whoever uses them later.
    ///
    /// Panics when `work` does; the namespace is then of no more use.
    pub fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = mpsc::channel();
        let job: Job = Box::new(move || {
            // The caller waits: it is there to receive.
            let _ = done.send(work());
        });
        let jobs = self.jobs.as_ref().expect("present until drop");
        let sent = jobs.send(job);
        match sent.ok().and_then(|()| result.recv().ok()) {
            Some(result) => result,
            None => panic!("a job in namespace {} has panicked", self.name),
        }
    }

    /// Writes `value` to a file below `/proc/sys/net`.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let path = format!("/proc/sys/net/{name}");
        let value = value.to_owned();
        self.run(move || fs::write(&path, value).map_err(|error| LabError::io(path, error)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It has panicked at worst, which `run` has told.
            let _ = thread.join();
        }
    }
}

/// Moves this thread to a new network namespace.
fn unshare_network() -> Result<OwnedFd, LabError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(LabError::Forbidden)?;
    let path = "/proc/thread-self/ns/net";
    let file = File::open(path).map_err(|error| LabError::io(path, error))?;
    Ok(file.into())
}

impl From<Errno> for LabError {
    fn from(errno: Errno) -> Self {
        LabError::io("a socket", io::Error::from(errno))
    }
}
