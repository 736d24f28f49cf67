package incident

import (
	"errors"
	"strings"
	"testing"
)

func TestNumbersAreDifferentAndReadBack(t *testing.T) {
	seen := make(map[string]uint64)
	for _, from := range []uint64{0, 1 << 20, 28_000_000, Count - 5000} {
		for n := from; n < from+5000; n++ {
			text := Format(n)
			if other, ok := seen[text]; ok {
				t.Fatalf("%d and %d are both %s", n, other, text)
			}
			seen[text] = n
			if got, err := Parse(text); err != nil || got != n {
				t.Fatalf("%s reads back as %d, %v, want %d", text, got, err, n)
			}
		}
	}
}

func TestNeighboursSoundDifferent(t *testing.T) {
	close := 0
	for n := range uint64(10_000) {
		same := 0
		a, b := Format(n), Format(n+1)
		for i := range len(a) {
			if a[i] == b[i] && a[i] != '-' {
				same++
			}
		}
		if same > 3 {
			close++
		}
	}
	if close > 100 {
		t.Errorf("%d of 10000 pairs have more than half of their symbols in common", close)
	}
}

func TestNumbersAreReadAsPeopleTypeThem(t *testing.T) {
	want := Format(12345)
	for name, text := range map[string]string{
		"as shown":      want,
		"lower case":    strings.ToLower(want),
		"no hyphen":     strings.ReplaceAll(want, "-", ""),
		"spaces":        " " + strings.ReplaceAll(want, "-", " ") + " ",
		"a letter O":    strings.ReplaceAll(want, "0", "o"),
		"an I for a 1":  strings.ReplaceAll(want, "1", "I"),
		"an l for a 1":  strings.ReplaceAll(want, "1", "l"),
		"an n dash":     strings.ReplaceAll(want, "-", "–"),
		"spelt in pair": want[:2] + " " + want[2:],
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Canonical(text); err != nil || got != want {
				t.Errorf("%q is %q, %v; want %q", text, got, err, want)
			}
		})
	}
	if got, err := Canonical("кАВЕ-мх"); err != nil || got != "KABE-MX" {
		t.Errorf("Cyrillic letters: %q, %v", got, err)
	}
}

func TestWhatIsNoNumberIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "a hyphen": "-", "too short": "K7M4-Q", "too long": "K7M4-QXA", "a U": "K7M4-QU",
		"other alphabet": "Ж7M4-QX", "SQL": "' OR 1=1", "very long": strings.Repeat(" ", 1000) + "K7M4QX", "not UTF-8": "K7M4\xff\xfe",
	} {
		t.Run(name, func(t *testing.T) {
			if n, err := Parse(text); !errors.Is(err, ErrNotNumber) {
				t.Errorf("%q is read as %d, %v", text, n, err)
			}
		})
	}
}

// FuzzParse: what is accepted has exactly one written form.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"K7M4-QX", "k7m4qx", "О0Il-11", "", "U"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(Format(n)); err != nil || again != n || n >= Count {
			t.Errorf("%q is %d, which is written %s, which is %d, %v", text, n, Format(n), again, err)
		}
	})
}
