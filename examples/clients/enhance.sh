#!/bin/sh
# Enhances a photo with a mirnet service, with curl (7.87 or newer) alone.
#
#     enhance.sh [--job] PHOTO [OPTION=VALUE ...]         enhance.sh party.jpg exposure=0.5 format=png
#
# Writes PHOTO.bright.EXT beside it and prints stops and seconds. --job is for large photos: it shows the progress.
# MIRNET_URL: the service's URL, by default http://127.0.0.1:7411; MIRNET_TOKEN: its token, if it needs one.
set -eu
url=${MIRNET_URL:-http://127.0.0.1:7411}
tries=8

say() { echo "$*" >&2; }

# The token as curl's configuration, not as an argument: all users of a machine can read command lines.
secrets() {
    [ -z "${MIRNET_TOKEN-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$(printf %s "$MIRNET_TOKEN" | sed 's/["\\]/\\&/g')"
}

# Prints the service's error message: `detail` of the problem in $body.
problem() { sed -nE 's/.*"detail": *"(([^"\\]|\\.)*)".*/\1/p' "$body" | sed -E 's/\\(["\\/])/\1/g'; }

# ask PATH CURL_OPTION...: sends a request; the response goes to $body, its headers to variables. Retries when the service is busy.
ask() {
    path=$1
    shift
    for try in $(seq "$tries"); do
        said=$(secrets | curl --config - --silent --show-error --output "$body" --write-out '%{http_code}|%header{retry-after}|%header{location}|%{content_type}|%header{mirnet-stops}|%header{mirnet-proposed-stops}|%header{mirnet-seconds}' "$@" "$url$path")
        IFS='|' read -r status later location media_type stops proposed seconds <<SAID
$said
SAID
        case $status in
            2??) return ;;
            429 | 503) ;;
            *) break ;;
        esac
        [ "$try" -lt "$tries" ] || break
        say "$(problem) Asking again in ${later:=5} s."
        sleep "$later"
    done
    say "$status: $(problem)"
    exit 1
}

# Shows how far a job is until it ends; its last state is then in $body.
watch() {
    secrets | curl --config - --silent --show-error --no-buffer "$url$1/events" | while IFS= read -r line; do
        case $line in
            data:*)
                printf '%s\n' "$line" >"$body"
                sed -nE 's/.*"progress": *([0-9.]+).*/\1/p' "$body" | awk '{ printf "\r%3.0f %%", 100 * $1 }' >&2
                ;;
        esac
    done
    say
}

suffix_of() {
    case $1 in
        image/jpeg) echo jpg ;;
        image/tiff) echo tif ;;
        *) echo "${1#image/}" ;;
    esac
}

as_job=
[ "${1-}" != --job ] || { as_job=1; shift; }
[ $# -ge 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
photo=$1
shift
[ -f "$photo" ] || { say "$photo: there is no such file."; exit 2; }
for option; do # each becomes a parameter of the address
    shift
    set -- "$@" --url-query "$option"
done

job=
body=$(mktemp)
leave() {
    rm -f "$body"
    [ -z "$job" ] || secrets | curl --config - --silent --request DELETE "$url$job" # also cancels it, if we were interrupted
}
trap leave EXIT
trap 'exit 130' INT TERM

if [ -n "$as_job" ]; then
    ask /v1/jobs --request POST --upload-file "$photo" "$@"
    job=$location
    watch "$job"
    grep -q '"state": *"done"' "$body" || { why=$(problem); say "${why:-The job came to no end.}"; exit 1; }
    ask "$job/result"
else
    ask /v1/enhance --request POST --upload-file "$photo" "$@"
fi

name=$(basename -- "$photo")
bright=$(dirname -- "$photo")/${name%.*}.bright.$(suffix_of "$media_type")
[ ! -e "$bright" ] || { say "$bright is there already; move it away."; exit 1; }
cp "$body" "$bright"
echo "$bright: $stops stops ($proposed proposed), $seconds s"
