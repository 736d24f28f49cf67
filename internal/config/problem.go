package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that can't stand in a configuration, and what to do
// about it.
type Problem struct {
	Where  string // "FILE:LINE", the variable or the flag; "" if nothing was set
	Key    string // dotted path; "" if there is none
	What   string
	Remedy string
}

// String returns the problem in one line.
func (p Problem) String() string {
	var parts []string
	for _, part := range []string{p.Where, p.Key, p.What} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	line := strings.Join(parts, ": ")
	if p.Remedy != "" {
		line += "; " + p.Remedy
	}
	return line
}

// Problems is the error of [Load] and [Config.Validate]: everything that is
// wrong, not only the first.
type Problems []Problem

// Error returns the first problem and the number of the others, in one line.
func (ps Problems) Error() string {
	switch len(ps) {
	case 0:
		return "no problem"
	case 1:
		return ps[0].String()
	default:
		return fmt.Sprintf("%s (and %d more: see `consilium check`)", ps[0], len(ps)-1)
	}
}

// orNil returns the problems as an error, or nil if there are none.
func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
