// Docker's health check of our images: every address given answers, whatever it answers, short of a server error.
import { get } from 'node:http'

let waiting = process.argv.length - 2
for (const address of process.argv.slice(2)) {
  const request = get(address, { timeout: 2500 }, (response) => {
    response.resume()
    if (response.statusCode >= 500) {
      console.log(`${address} answered ${response.statusCode}`)
      process.exitCode = 1
    }
    response.on('end', () => {
      waiting -= 1
      if (waiting === 0) process.exit()
    })
  })
  request.on('timeout', () => request.destroy(new Error('no answer within 2.5 s')))
  request.on('error', (error) => {
    console.log(`${address}: ${error.message}`)
    process.exit(1)
  })
}
