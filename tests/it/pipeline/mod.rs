mod scenarios;
mod vectors;
