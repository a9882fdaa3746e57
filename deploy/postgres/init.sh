#!/bin/sh
# Runs once, when the database server is new: two databases, each with an owner for the migrations and a login for
# its server, which can do nothing but what its group may and cannot connect to the other database.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'EOF'
\getenv spins_owner SPINS_OWNER_PASSWORD
\getenv spin_server SPIN_SERVER_PASSWORD
\getenv jackpots_owner JACKPOTS_OWNER_PASSWORD
\getenv jackpot_server JACKPOT_SERVER_PASSWORD

-- The migrations give these groups their rights; they would also make them, if they were not there.
CREATE ROLE spin_app NOLOGIN;
CREATE ROLE jackpot_app NOLOGIN;

CREATE ROLE spins_owner LOGIN CREATEROLE PASSWORD :'spins_owner';
CREATE ROLE spin_server LOGIN PASSWORD :'spin_server' IN ROLE spin_app;
CREATE DATABASE spins OWNER spins_owner;
REVOKE ALL ON DATABASE spins FROM PUBLIC;
GRANT CONNECT ON DATABASE spins TO spin_app;

CREATE ROLE jackpots_owner LOGIN CREATEROLE PASSWORD :'jackpots_owner';
CREATE ROLE jackpot_server LOGIN PASSWORD :'jackpot_server' IN ROLE jackpot_app;
CREATE DATABASE jackpots OWNER jackpots_owner;
REVOKE ALL ON DATABASE jackpots FROM PUBLIC;
GRANT CONNECT ON DATABASE jackpots TO jackpot_app;
EOF
