//! The whole: the real command, the real functions, real sockets on free ports.

mod rivulet;

mod errors;

mod invoke;

mod packets;

mod stop;
