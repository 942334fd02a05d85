//! What peers may cost, each bound with its reason.
