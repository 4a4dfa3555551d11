//! Against a real registry, Debian's `docker-registry`, and a proxy in front of it that breaks what it is told to break.

mod access;
mod catalog;
mod disk_images;
mod faults;
mod layers;
mod local;
mod processes;
mod pull;
mod push;
mod support;
