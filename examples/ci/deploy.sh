#!/bin/sh
# Check, test and roll out the rules of this repository. Both CI examples run this, and so can you.
#
# EYEFLOW_COORDINATOR  URL of the coordinator
# EYEFLOW_TOKEN        an API token with the role deploy: eyeflow tokens new ci-main --role deploy
# RULES                folder of rules (rules)
# NODES                which nodes (--all), such as --label site=lyon
# STRATEGY             how to roll out (--strategy rolling --observe 60s)
# SIGN                 name of the signing key in the keyring (default)
set -eu
rules=${RULES:-rules}

case ${1:-deploy} in
check)
    eyeflow fmt --check "$rules"
    eyeflow check "$rules"
    eyeflow test "$rules"
    ;;
diff) # says what would change: exit code 1 means that something would, which is no failure here
    # shellcheck disable=SC2086 # NODES holds several words
    eyeflow diff "$rules" ${NODES:---all} --prune || [ $? -eq 1 ]
    ;;
deploy) # the exit code is the outcome: 0 when all nodes have it, 1 when it failed or went back
    # shellcheck disable=SC2086
    eyeflow deploy "$rules" ${NODES:---all} --prune ${STRATEGY:---strategy rolling --observe 60s} \
        --sign "${SIGN:-default}" --timeout "${TIMEOUT:-3600}"
    ;;
*)
    echo "usage: $0 check|diff|deploy" >&2
    exit 2
    ;;
esac
