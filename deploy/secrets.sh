#!/bin/sh
# Makes the secrets that compose.yaml reads, once, in the folder secrets/ beside this file (git-ignored, yours
# only). Existing ones are kept: the databases were made with them. In earnest, put your own in their place.
set -eu
umask 077
secrets="$(dirname "$0")/secrets"
[ ! -e "$secrets" ] || { echo "$secrets exists: kept as it is"; exit 0; }

random() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

making="$secrets.making"
rm -rf "$making"
mkdir "$making"
spins_owner=$(random 24) spin_server=$(random 24) jackpots_owner=$(random 24) jackpot_server=$(random 24)
cat > "$making/postgres.env" <<EOF
POSTGRES_PASSWORD=$(random 24)
SPINS_OWNER_PASSWORD=$spins_owner
SPIN_SERVER_PASSWORD=$spin_server
JACKPOTS_OWNER_PASSWORD=$jackpots_owner
JACKPOT_SERVER_PASSWORD=$jackpot_server
EOF
dsn() { echo "postgresql://$1:$2@postgres:5432/$3"; }
echo "SPIN_MIGRATE_DSN=$(dsn spins_owner "$spins_owner" spins)" > "$making/spins_owner.env"
echo "SPIN_DATABASE_DSN=$(dsn spin_server "$spin_server" spins)" > "$making/spin_server.env"
echo "JACKPOT_MIGRATE_DSN=$(dsn jackpots_owner "$jackpots_owner" jackpots)" > "$making/jackpots_owner.env"
echo "JACKPOT_DATABASE_DSN=$(dsn jackpot_server "$jackpot_server" jackpots)" > "$making/jackpot_server.env"
# Whoever has it can compute the draws of every open cycle. A mounted file keeps its owner, and the containers'
# user (10001) is another one: the folder is what keeps others of this machine away from it.
random 32 > "$making/jackpot_root_key"
chmod 0444 "$making/jackpot_root_key"
mv "$making" "$secrets"
echo "secrets made in $secrets"
