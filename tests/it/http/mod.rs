mod api;
mod openapi;
mod orders;
mod roles;
mod tokens;
