//! HardConcrete gates, their noise, and the Lagrangian that prices them.
