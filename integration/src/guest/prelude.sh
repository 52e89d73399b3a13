# Before every script of a guest: `act` lets the actor do one thing and keeps what it reports; its status is the actor's.
act() { /actor "$@" >> /out/actions.jsonl; }
