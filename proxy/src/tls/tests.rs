mod faults;
mod handshakes;
mod identity;
mod kit;
mod refusals;
mod reload;
mod sessions;
