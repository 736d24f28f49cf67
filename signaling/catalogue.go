package signaling

// Direction says who sends a message.
type Direction string

// Directions of a message.
const (
	ToServer Direction = "client to server"
	ToClient Direction = "server to client"
)

// MessageType describes one type of message in one direction.
type MessageType struct {
	Name      string
	Direction Direction
	Numbered  bool // has a Seq
	Request   bool // carries an ID and is answered with a message that has it in Re
	new       func() any
}

// New returns a pointer to a zero body of the type.
func (m MessageType) New() any { return m.new() }

func body[T any]() any { return new(T) }

// Catalogue lists every message of the protocol, in the order of
// docs/reference/protocol.md: the one table from name to Go struct.
func Catalogue() []MessageType { return append([]MessageType(nil), catalogue...) }

var catalogue = []MessageType{
	{"hello", ToServer, false, false, body[Hello]},
	{"resume", ToServer, false, false, body[Resume]},
	{"ping", ToServer, false, false, body[Ping]},
	{"ack", ToServer, false, false, body[Empty]},
	{"offer", ToServer, true, true, body[OfferBody]},
	{"publish", ToServer, true, true, body[Publish]},
	{"candidate", ToServer, true, false, body[Candidate]},
	{"view", ToServer, true, false, body[ViewBody]},
	{"report", ToServer, true, false, body[Report]},
	{"log", ToServer, true, false, body[Log]},
	{"turn", ToServer, true, true, body[Empty]},
	{"admit", ToServer, true, true, body[Target]},
	{"remove", ToServer, true, true, body[Target]},
	{"mute", ToServer, true, true, body[MuteOther]},
	{"end", ToServer, true, true, body[Empty]},
	{"leave", ToServer, true, false, body[Empty]},

	{"welcome", ToClient, false, false, body[Welcome]},
	{"resumed", ToClient, false, false, body[Resumed]},
	{"pong", ToClient, false, false, body[Pong]},
	{"ack", ToClient, false, false, body[Empty]},
	{"ok", ToClient, true, false, body[Empty]},
	{"answer", ToClient, true, false, body[AnswerBody]},
	{"turn", ToClient, true, false, body[TURNBody]},
	{"error", ToClient, true, false, body[ErrorBody]},
	{"admitted", ToClient, true, false, body[Admitted]},
	{"state", ToClient, true, false, body[State]},
	{"participant", ToClient, true, false, body[Participant]},
	{"participant_left", ToClient, true, false, body[ParticipantLeft]},
	{"seats", ToClient, true, false, body[Seats]},
	{"recording", ToClient, true, false, body[RecordingBody]},
	{"event", ToClient, true, false, body[EventBody]},
	{"muted", ToClient, true, false, body[Muted]},
	{"ended", ToClient, true, false, body[Ended]},
}

// lookup finds what a client may send under a name.
func lookup(name string) (MessageType, bool) {
	for _, m := range catalogue {
		if m.Direction == ToServer && m.Name == name {
			return m, true
		}
	}
	return MessageType{}, false
}
