//! The edge to libtorch: device choice, dtype policy, C-ABI functions, checked shapes. The only unsafe code.
