//! bytes -> lines, bytes -> message text.
