mod schema;
mod statements;
mod upgrade;
