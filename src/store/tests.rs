//! Data directories on a disk that fails.
