# Before every script of a guest: `act` lets the actor do one thing and keeps what it reports; its status is the actor's.
act() { /actor "$@" >> /out/actions.jsonl; }
# As `act`, under a name by which a scenario finds the report, and with what /proc says of the actor.
named() {
    ACTOR_LABEL=$1
    export ACTOR_LABEL
    shift
    act "$@"
    set -- $?
    unset ACTOR_LABEL
    return $1
}
