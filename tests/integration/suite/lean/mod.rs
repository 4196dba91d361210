//! What speaks of the lean engine by its name. Everything beside this folder is tried under each engine in turn
//! (`make test`); these once, since under another engine they would mean the same or nothing.

mod churn;
mod contained;
mod crash;
mod escape;
mod healing;
mod instances;
mod killing;
mod layers;
mod limits;
mod parity;
mod ports;
mod prepared;
mod propagation;
mod seccomp;
mod siblings;
mod unusual;
