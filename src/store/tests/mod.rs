//! Data directories on a simulated disk that fails.

mod crashes;
mod damage;
mod disk;
mod failures;
mod forged;
mod life;
mod model;
mod promise;
mod survivors;
