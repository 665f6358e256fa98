/** Resolves in the next turn of the event loop: timers and sockets come in between. Passed in like the clock, so that a simulation may have its own. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
