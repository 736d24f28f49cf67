package recorder

import (
	"bytes"
	"testing"

	"github.com/at-wat/ebml-go"
)

func TestClustersAreWhatEBMLGoWouldWrite(t *testing.T) {
	type cluster struct {
		Timestamp   uint64       `ebml:"Timecode"`
		SimpleBlock []ebml.Block `ebml:"SimpleBlock"`
	}
	for name, tc := range map[string]struct {
		at    int64
		sizes []int
	}{
		"one byte":        {0, []int{1}},
		"size boundaries": {255, []int{122, 123, 124, 16378, 16379, 16380}},
		"an hour":         {3_600_000, []int{100, 1 << 21}},
		"days":            {1 << 33, []int{0, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			var blocks []block
			want := struct {
				Cluster cluster `ebml:"Cluster"`
			}{cluster{Timestamp: uint64(tc.at)}}
			for i, n := range tc.sizes {
				b := block{ms: tc.at + int64(i)*40, keyframe: i == 0, data: make([]byte, n)}
				blocks = append(blocks, b)
				want.Cluster.SimpleBlock = append(want.Cluster.SimpleBlock, ebml.Block{
					TrackNumber: trackNumber, Timecode: int16(i * 40), Keyframe: i == 0, Data: [][]byte{b.data},
				})
			}
			got, err := appendCluster(nil, blocks)
			if err != nil {
				t.Fatal(err)
			}
			reference, err := marshal(&want)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, reference) {
				t.Errorf("%d bytes differ from the %d of ebml-go", len(got), len(reference))
			}
		})
	}
}

func TestABlockTooFarFromItsClusterIsRefused(t *testing.T) {
	for _, ms := range []int64{-1, maxBlockOffset + 1} {
		if _, err := appendCluster(nil, []block{{ms: 0}, {ms: ms}}); err == nil {
			t.Errorf("a block at %d ms was accepted", ms)
		}
	}
}
