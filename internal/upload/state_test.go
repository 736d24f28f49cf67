package upload

import (
	"slices"
	"testing"
)

func TestAStateKeepsWhatIsTheSameAndRemembersWhatIsLeftOver(t *testing.T) {
	whole := func(name, sum string) object {
		return object{Name: name, Key: "p/call/" + name, Bytes: 3, SHA256: sum, Sent: true, Verified: true, Copy: "v-" + sum}
	}
	begun := object{Name: "cam", Key: "p/call/cam", Bytes: 3, SHA256: "old", Upload: "u", ETags: []string{"1"}}
	untouched := object{Name: "cam", Key: "p/call/cam", Bytes: 3, SHA256: "old"}
	for name, c := range map[string]struct {
		old          []object
		place        string
		kept, wanted []string // "name sum" of what need not be sent, and of leftovers
	}{
		"the same":               {[]object{whole("mic", "m"), whole("cam", "c")}, "here", []string{"mic m", "cam c"}, nil},
		"another content":        {[]object{whole("mic", "m"), whole("cam", "old")}, "here", []string{"mic m"}, []string{"cam old"}},
		"listed no more":         {[]object{whole("mic", "m"), whole("gone", "g")}, "here", []string{"mic m"}, []string{"gone g"}},
		"begun with the old one": {[]object{begun}, "here", nil, []string{"cam old"}},
		"not begun":              {[]object{untouched}, "here", nil, nil},
		"at another place":       {[]object{whole("mic", "m"), whole("gone", "g")}, "there", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := state{Recording: "call", Place: "here", Objects: c.old}
			s.take(c.place, "p/", []File{{Name: "mic", Bytes: 3, SHA256: "m"}, {Name: "cam", Bytes: 3, SHA256: "c"}})
			var kept, leftovers []string
			for _, o := range s.Objects {
				if o.Verified {
					kept = append(kept, o.Name+" "+o.SHA256)
				}
			}
			for _, o := range s.Leftovers {
				leftovers = append(leftovers, o.Name+" "+o.SHA256)
			}
			if len(s.Objects) != 2 || !slices.Equal(kept, c.kept) || !slices.Equal(leftovers, c.wanted) {
				t.Errorf("kept %q, left over %q of %+v", kept, leftovers, s)
			}
		})
	}
}

func TestALeftoverIsNotRemovedWhereAnObjectTookItsKey(t *testing.T) {
	s := state{Objects: []object{{Key: "p/call/cam"}}}
	for o, want := range map[*object]bool{
		{Key: "p/call/cam"}:             true,
		{Key: "p/call/cam", Copy: "v1"}: false, // the store keeps both
		{Key: "p/call/gone"}:            false,
	} {
		if s.replaced(*o) != want {
			t.Errorf("%+v: %v", o, !want)
		}
	}
}
