mod schema;
mod statements;
