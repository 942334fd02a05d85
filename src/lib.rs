//! zkd
