//! The accounts: `seen = emitted + filtered + sampled + lost + in_flight`, per container.
