//! Adj-RIB-In of each neighbor, and the best path for each NLRI.
