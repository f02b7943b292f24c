# kashim for a login shell: everything started from it gets TCP keepalive on its connections. Read by any POSIX shell:
#
#     [ ! -r /usr/local/bin/kashim-profile.sh ] || . /usr/local/bin/kashim-profile.sh      # in ~/.profile
#
# or, for everybody, as /etc/profile.d/kashim.sh. What is set already stays: to change a value, set it before this is
# read, or afterwards for one command (KA_IDLE=300 mysqldump ...). KA_DISABLE=1 switches everything off.
#
# It says nothing, leaves nothing behind but variables of the environment, and does nothing if the library is missing.
# The path is absolute, so that setuid programs, which must not be preloaded, drop it in silence; scripts/install
# writes the right one.
# shellcheck shell=sh
if [ -r '/usr/local/lib/libkashim.so' ]; then
    : "${KA_IDLE:=60}" "${KA_COUNT:=9}"
    export KA_IDLE KA_COUNT
    # KA_INTERVAL has no default here: the library takes 15 s, or the idle if that is less. Like the rest it is handed
    # on to programs if it was set, be it without export.
    [ -z "${KA_INTERVAL:-}" ] || export KA_INTERVAL
    [ -z "${KA_USER_TIMEOUT:-}" ] || export KA_USER_TIMEOUT
    [ -z "${KA_FORCE:-}" ] || export KA_FORCE
    [ -z "${KA_RULES:-}" ] || export KA_RULES
    [ -z "${KA_SKIP:-}" ] || export KA_SKIP
    [ -z "${KA_DISABLE:-}" ] || export KA_DISABLE
    [ -z "${KA_LOG:-}" ] || export KA_LOG
    # Once, however often this is read. The loader separates by colons and by blanks.
    case ":${LD_PRELOAD:-}:" in
    *[:\ ]'/usr/local/lib/libkashim.so'[:\ ]*) ;;
    *) LD_PRELOAD='/usr/local/lib/libkashim.so'"${LD_PRELOAD:+:$LD_PRELOAD}" ;;
    esac
    export LD_PRELOAD
fi
