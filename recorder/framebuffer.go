package recorder

// Sizes of the blocks that frames share, in bytes: about half a second.
const (
	audioBlock = 4 << 10
	videoBlock = 64 << 10
)

// frameBuffer gives frames their memory. Frames wait, for a place on the
// timeline and for the disk, so none can use the memory of the one before;
// instead many share one allocation, which is freed when the last of them was
// written. Not safe for concurrent use.
type frameBuffer struct {
	size  int    // of a block
	block []byte // finished frames, then the one being built
	begin int    // where that one begins
}

// add appends to the frame being built.
func (b *frameBuffer) add(payload []byte) {
	if len(b.block)+len(payload) > cap(b.block) {
		part := b.block[b.begin:]
		block := make([]byte, 0, max(b.size, 2*(len(part)+len(payload))))
		b.block, b.begin = append(block, part...), 0
	}
	b.block = append(b.block, payload...)
}

// empty reports whether the frame being built has no byte yet.
func (b *frameBuffer) empty() bool { return len(b.block) == b.begin }

// take returns the frame that was built, and begins the next one. Its bytes
// are not written to again.
func (b *frameBuffer) take() []byte {
	f := b.block[b.begin:len(b.block):len(b.block)]
	b.begin = len(b.block)
	return f
}

// reset drops the frame being built.
func (b *frameBuffer) reset() { b.block = b.block[:b.begin] }
