mod api;
mod openapi;
mod orders;
mod people;
mod roles;
mod tokens;
