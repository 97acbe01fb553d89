mod doors;
mod scenarios;
mod vectors;
