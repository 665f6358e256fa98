const serialize = (value) => Buffer.from(JSON.stringify(value))
const deserialize = (bytes) => JSON.parse(bytes.toString())
const forms = { requestSerialize: serialize, requestDeserialize: deserialize, responseSerialize: serialize, responseDeserialize: deserialize }

/** The same two operations as ours, the same JSON. */
export const service = {
  echo: { path: '/bench.Bench/Echo', requestStream: false, responseStream: false, ...forms },
  items: { path: '/bench.Bench/Items', requestStream: false, responseStream: true, ...forms },
}
