mod api;
mod marketplaces;
mod openapi;
mod orders;
mod people;
mod roles;
mod tokens;
