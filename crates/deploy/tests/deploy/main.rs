//! Deploys against a real engine, each test in a project of its own.

mod build;
mod control;
mod down;
mod functions;
mod harness;
mod services;
