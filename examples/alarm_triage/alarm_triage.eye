# Free-text messages of machines and people, sorted by a language model: who must know, and when.
# A model may be slow, away or wrong. So its answer only chooses a channel; when it does not answer, somebody is called.

rule alarm_triage {
    version "1.0.0"
    description "Sorts free-text alarms by urgency with a language model"

    enum Urgency {
        CALL
        TICKET
        IGNORE
    }

    record Message {
        source: text(32)
        body: text(500)
    }

    const ASK = "How urgent is this message from a food factory? "
        + "CALL: people or food in danger, or production stands. "
        + "TICKET: somebody should look within days. IGNORE: nothing to do."

    state calls: int = 0
    state tickets: int = 0

    on http "/hooks/alarm" as message: Message

    # CALL is the fallback: silence of the model must not mean silence of the alarm.
    let urgency = llm.classify(message.body, Urgency, ASK) retry 1 timeout 5s else CALL

    match urgency {
        CALL => {
            calls = calls + 1
            mqtt.publish(
                "duty/call",
                "{message.source}: {message.body}",
            ) retry 10 backoff 1s else skip
        }
        TICKET => {
            tickets = tickets + 1
            http.post(
                "https://tickets.example/api/new",
                "{message.source}: {message.body}",
            ) retry 5 backoff 10s else skip
        }
        IGNORE => {
            log.info("ignored from {message.source}")
        }
    }

    test "a call" {
        given llm.classify("cold store 3 at -4 C and rising", Urgency, ASK) = CALL
        send { source: "cold3", body: "cold store 3 at -4 C and rising" }
        expect mqtt.publish("duty/call", "cold3: cold store 3 at -4 C and rising")
        expect calls == 1
    }

    test "a ticket" {
        given llm.classify("belt 2 squeaks since Monday", Urgency, ASK) = TICKET
        send { source: "belt2", body: "belt 2 squeaks since Monday" }
        expect http.post("https://tickets.example/api/new", "belt2: belt 2 squeaks since Monday")
        expect no mqtt.publish()
        expect tickets == 1
    }

    test "nothing to do" {
        given llm.classify("self test passed", Urgency, ASK) = IGNORE
        send { source: "plc7", body: "self test passed" }
        expect log.info("ignored from plc7")
    }

    test "no answer is a call" {
        given llm.classify("???", Urgency, ASK) fails
        send { source: "belt2", body: "???" }
        expect mqtt.publish("duty/call", "belt2: ???")
    }
}
