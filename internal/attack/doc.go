// Package attack has no code but tests: they attack the built program from
// outside, as a stranger or a bad client on the network would, and look from
// outside at what it does: answers, sockets, descriptors, processor time, and
// the media of a call that goes on meanwhile.
//
// docs/explanation/attacks.md lists every attack with the test that runs it;
// those that need the inside of a package are tested there.
package attack
