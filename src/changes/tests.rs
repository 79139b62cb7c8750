//! Changes against maps.
