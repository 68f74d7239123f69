// Work that takes longer than a frame of the screen, a little at a time

const SLICE = 20; // ms

// Run a generator between other events. Return a promise of what it returns.
export function inSlices(work) {
  return new Promise((resolve) => {
    function slice() {
      const end = performance.now() + SLICE;
      let next = work.next();
      while (!next.done && performance.now() < end) next = work.next();
      if (next.done) resolve(next.value);
      else setTimeout(slice);
    }
    slice();
  });
}
