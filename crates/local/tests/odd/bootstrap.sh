#!/bin/bash
host=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API##*:} api=/2018-06-01/runtime/invocation
if [ "$START" = exit ]; then echo "cannot start"; exit 3; fi
exec 3<>"/dev/tcp/$host/$port"
# Reads an answer: its body is in $body, its request id in $id, its deadline in $deadline.
answer() {
    local length=0
    while IFS= read -r line <&3; do
        line=${line%$'\r'}
        case "$line" in HTTP/*) told=$status; line=${line#* }; status=${line%% *}; continue ;; esac
        case "$line" in
            [Cc]ontent-[Ll]ength:*) length=${line#*: } ;;
            lambda-runtime-aws-request-id:*) id=${line#*: } ;;
            lambda-runtime-deadline-ms:*) deadline=${line#*: } ;;
            "") break ;;
        esac
    done
    IFS= read -r -N "$length" body <&3 || true
}
# At once, which a line's end brings about: what comes in pieces waits for their acknowledgement.
ask() { local request; printf -v request "$@"; echo -n "$request" >&3; answer; }
post() { ask 'POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n%s\n' "$1" $((${#2} + 1)) "$2"; }
while true; do
    ask 'GET %s/next HTTP/1.1\r\nHost: x\r\n\r\n' "$api"
    echo "got $body"
    body=${body#'{"Data":'} body=${body%\}} # a packet does what its data says
    case "$body" in
        *'"data":"ZXJyb3I="'*) post "$api/$id/error" '{"errorType":"Mine","errorMessage":"it broke"}' ;; # a record: error
        *'"data":"aGFuZw=="'*) sleep 60 ;; # a record: hang
        '"answer"') post "$api/$id/response" "\"$$\"" ;;
        '"deadline"') post "$api/$id/response" "$deadline" ;;
        '"environment"') post "$api/$id/response" "\"$(env | sort | tr '\n' ' ')\"" ;;
        '"error"') post "$api/$id/error" '{"errorType":"Mine","errorMessage":"it broke"}' ;;
        '"error once"') if [ "$tried" ]; then post "$api/$id/response" "\"at last\""; else
                tried=1; post "$api/$id/error" '{"errorType":"Mine","errorMessage":"not yet"}'; fi ;;
        '"undelivered and gone"') rm "$0" # it can never be started again
            post "$api/$id/error" '{"errorType":"UndeliveredPackets","errorMessage":"not one"}'; exit 0 ;;
        '"exit"'*) echo "going"; exit 7 ;;
        '"tick"') post "$api/$id/response" "\"$$\""
            while true; do echo tick >>"$FOLDER/ticks"; sleep 0.001; done & ;;
        '"write"'*) echo "one of two"; echo "error of two" >&2; printf 'no end'; post "$api/$id/response" '"done"'; echo ;;
        '"hang"') sleep 60 ;;
        '"answer and sleep"') post "$api/$id/response" '"good night"'; sleep 60 ;;
        '"answer and exit"') post "$api/$id/response" '"bye"'; exit 0 ;;
        '"stale"') post "$api/not-$id/response" '"stale"'; post "$api/$id/response" "\"${body//\"/}\"" ;;
        '"bytes '*|'"error bytes '*) # so many of them
            kind=response; [ "${body%% bytes*}" = '"error' ] && kind=error
            length=${body##* } length=${length%\"}
            { printf 'POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n' "$api/$id/$kind" "$length"
              head -c "$length" /dev/zero; } >&3; answer ;;
        '"status"') post "$api/$id/response" "\"$told\"" ;; # of what was handed in before
        '"huge"') { printf 'POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 7000000\r\n\r\n' "$api/$id/response"
                   head -c 7000000 /dev/zero; } >&3; answer ;;
        *) post "$api/$id/response" '"what?"' ;;
    esac
done
