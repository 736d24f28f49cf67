package event

import "strings"

// PrecheckRoom begins the names of the rooms in which a device tests its paths
// to the server (POST /v1/precheck). What happens there is nobody's call: it is
// neither recorded nor announced; only the outcome is, as precheck.completed of
// the room the person was invited to.
const PrecheckRoom = "~precheck."

// InPrecheck reports whether a room is one of those.
func InPrecheck(room string) bool { return strings.HasPrefix(room, PrecheckRoom) }
