// Package e2e has only tests: the whole server in this process, real browsers
// and synthetic participants around it. It is run alone (make test), because
// browsers need the machine for themselves.
//
//	lab_test.go     a server on ports and data of its own, tokens, events
//	person_test.go  somebody in a browser: join, see, hear
//	*_test.go       one file a subject
package e2e
