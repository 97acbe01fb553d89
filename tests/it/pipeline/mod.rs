mod scenarios;
mod signatures;
