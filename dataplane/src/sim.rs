//! The backend that forwards packets in memory: the oracle for all others.
