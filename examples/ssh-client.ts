// For OpenSSH: ssh -o ProxyCommand="node examples/ssh-client.ts TICKET" user@anything. SSH runs inside the link, end to end as ever.
import { connect } from 'kith'

const stream = await connect(process.argv[2] ?? '', { protocol: 'example/ssh/1' })
stream.on('error', (error) => console.error(error.message))
process.stdin.pipe(stream).pipe(process.stdout)
