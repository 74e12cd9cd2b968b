"""A worker that says once that it is there."""

import time

from app import connect

with connect() as connection:
    connection.execute("insert into rows (name) values ('worker')")
while True:
    time.sleep(60)
