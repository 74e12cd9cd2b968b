from app import connect

with connect() as connection:
    connection.execute("create table if not exists rows (id bigserial primary key, name text not null)")
