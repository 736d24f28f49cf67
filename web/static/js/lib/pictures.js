// @ts-check
// From a track to its pictures, and from pictures to a track, where that needs
// elements that nobody sees.

/**
 * Calls back with every picture of a track, until the returned function is
 * called.
 * @param {MediaStreamTrack} track
 * @param {(picture: CanvasImageSource, width: number, height: number) => void} onPicture
 */
export function eachPicture(track, onPicture) {
  const Processor = Reflect.get(globalThis, 'MediaStreamTrackProcessor');
  return Processor ? eachFrame(new Processor({ track }), onPicture) : eachPaint(track, onPicture);
}

/**
 * @param {{readable: ReadableStream<VideoFrame>}} processor
 * @param {(picture: CanvasImageSource, width: number, height: number) => void} onPicture
 */
function eachFrame({ readable }, onPicture) {
  const reader = readable.getReader();
  let on = true;
  const pump = async () => {
    while (on) {
      const { value, done } = await reader.read();
      if (done) return;
      if (on) onPicture(value, value.displayWidth, value.displayHeight);
      value.close();
    }
  };
  pump().catch(() => {}); // the track has ended
  return () => {
    on = false;
    reader.cancel().catch(() => {});
  };
}

/**
 * Browsers without MediaStreamTrackProcessor tell of pictures through a video
 * element.
 * @param {MediaStreamTrack} track
 * @param {(picture: CanvasImageSource, width: number, height: number) => void} onPicture
 */
function eachPaint(track, onPicture) {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  let handle = 0;
  const next = () => {
    onPicture(video, video.videoWidth, video.videoHeight);
    handle = video.requestVideoFrameCallback(next);
  };
  handle = video.requestVideoFrameCallback(next);
  video.play().catch(() => {}); // the track has ended
  return () => {
    video.cancelVideoFrameCallback(handle);
    video.srcObject = null;
  };
}

/** A track of pictures that are painted one by one. */
export class PaintedTrack {
  #canvas = document.createElement('canvas');

  constructor() {
    this.context = this.#canvas.getContext('2d', { alpha: false });
    this.track = this.#canvas.captureStream().getVideoTracks()[0];
  }

  /** @param {VideoFrame} frame */
  paint(frame) {
    const { displayWidth: width, displayHeight: height } = frame;
    const canvas = this.#canvas;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.context?.drawImage(frame, 0, 0, width, height);
  }
}
