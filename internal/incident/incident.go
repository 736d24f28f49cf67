// Package incident writes and reads incident numbers: what a person reads from
// the screen to the registrar on the telephone, and what then opens the
// timeline of the call at the failure.
//
// A number looks like K7M4-QX: six symbols of Crockford's base 32 (no I, L, O
// and U), in which two numbers given one after the other differ everywhere, so
// that a misheard symbol hits no neighbour.
//
// The package is a leaf: it imports nothing of ours.
package incident

import (
	"errors"
	"strings"
)

// Count is how many different numbers there are.
const Count = 1 << bits

const (
	alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	symbols  = 6
	bits     = 5 * symbols
	mask     = Count - 1
	group    = 4 // symbols before the hyphen
	longest  = 64
)

// Two odd factors and their inverses modulo Count. With the shifts between
// them they spread neighbours over the whole range; none is a secret.
const (
	factor1, inverse1 = 0x2C1B3C6D, 0x24EA2D65
	factor2, inverse2 = 0x297A2D39, 0x0CF0B109
	shift             = bits / 2
)

// ErrNotNumber is returned for text that is no incident number.
var ErrNotNumber = errors.New("not an incident number: six letters and digits, such as K7M4-QX")

// Format returns the number of the n-th incident. Numbers of n below Count are
// all different; n counts modulo Count.
func Format(n uint64) string {
	x := n & mask
	x = x * factor1 & mask
	x ^= x >> shift
	x = x * factor2 & mask
	x ^= x >> shift
	var text [symbols]byte
	for i := symbols - 1; i >= 0; i-- {
		text[i] = alphabet[x&31]
		x >>= 5
	}
	return string(text[:group]) + "-" + string(text[group:])
}

// Parse reads a number as people type it, and returns which incident it is,
// below Count: in any case, with or without hyphen and spaces, with O for 0 and
// I or L for 1, and with the Cyrillic letters that look the same.
func Parse(text string) (n uint64, err error) {
	if len(text) > longest {
		return 0, ErrNotNumber
	}
	var x uint64
	found := 0
	for _, r := range strings.ToUpper(text) {
		if r == '-' || r == '–' || r == ' ' || r == '\u00a0' {
			continue
		}
		value := strings.IndexRune(alphabet, latin(r))
		if value < 0 || found == symbols {
			return 0, ErrNotNumber
		}
		x = x<<5 | uint64(value)
		found++
	}
	if found != symbols {
		return 0, ErrNotNumber
	}
	x ^= x >> shift
	x = x * inverse2 & mask
	x ^= x >> shift
	return x * inverse1 & mask, nil
}

// Canonical returns a number in the form of Format.
func Canonical(text string) (string, error) {
	n, err := Parse(text)
	if err != nil {
		return "", err
	}
	return Format(n), nil
}

// latin replaces what is easily taken for a symbol.
func latin(r rune) rune {
	switch r {
	case 'O', 'О':
		return '0'
	case 'I', 'L':
		return '1'
	case 'А':
		return 'A'
	case 'В':
		return 'B'
	case 'Е':
		return 'E'
	case 'К':
		return 'K'
	case 'М':
		return 'M'
	case 'Н':
		return 'H'
	case 'Р':
		return 'P'
	case 'С':
		return 'C'
	case 'Т':
		return 'T'
	case 'У':
		return 'Y'
	case 'Х':
		return 'X'
	}
	return r
}
