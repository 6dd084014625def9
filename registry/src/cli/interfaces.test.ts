import assert from 'node:assert/strict'
import type { Machine } from './config.ts'
import { advertiseAddress, advertiseNews, oneAddress } from './interfaces.ts'

const host = (...addresses: [name: string, address: string][]): Machine => ({
  hostname: () => 'h',
  readFile: () => '',
  readFolder: () => [],
  addresses: () => addresses.map(([name, address]) => ({ interface: name, address })),
})

function one(given: string, machine: Machine): string {
  const mistakes: string[] = []
  const address = oneAddress('bind_addr', given, machine, mistakes)
  return mistakes.length > 0 ? mistakes.join('\n') : address
}

describe('addresses of this host', () => {
  const usual = host(
    ['eth0', 'fe80::1'],
    ['eth0', 'fd00::2'],
    ['eth0', '10.0.0.2'],
    ['wlan0', '169.254.7.7'],
    ['wlan0', '93.184.216.34'],
    ['tun0', 'fd00::9'],
  )

  for (const [template, expected] of [
    ['{{ GetPrivateIP }}', '10.0.0.2'],
    ['{{GetPrivateIP}}', '10.0.0.2'],
    ['{{ GetPublicIP }}', '93.184.216.34'],
    ['{{ GetInterfaceIP "eth0" }}', '10.0.0.2'],
    ['{{ GetInterfaceIP "tun0" }}', 'fd00::9'],
    ['[::1]', '::1'],
  ] as const) {
    it(`${template} is ${expected}`, () => assert.equal(one(template, usual), expected))
  }

  it('a template that finds nothing says what there is; one that is unknown, what would be understood', () => {
    const few = host(['eth0', '10.0.0.2'], ['eth1', '10.1.0.2'])
    assert.equal(
      one('{{ GetPublicIP }}', few),
      'bind_addr: {{ GetPublicIP }} names no address of this host, which has 10.0.0.2 on eth0, 10.1.0.2 on eth1',
    )
    assert.match(one('{{ GetPrivateIP }}', host()), /no address of this host, which has none but loopback$/)
    for (const unknown of ['{{ GetNope }}', '{{ GetAllInterfaces | attr "address" }}', '{{ toString }}']) {
      assert.match(one(unknown, few), /expected .*\{\{ GetPrivateIP \}\}, .*GetInterfaceIP "eth0".*received/)
    }
    assert.match(one('10.0.0.1 10.0.0.2', few), /bind_addr cannot contain multiple addresses/)
  })

  it('bound to all, the one private address is advertised; several must be chosen from', () => {
    const advertised = (machine: Machine, bind = '0.0.0.0') => {
      const mistakes: string[] = []
      const address = advertiseAddress('', bind, machine, mistakes)
      return mistakes[0] ?? address
    }
    assert.equal(advertised(usual), '10.0.0.2')
    assert.equal(advertised(usual, '::'), '10.0.0.2')
    assert.equal(advertised(usual, '10.9.9.9'), '10.9.9.9')
    assert.match(
      advertised(host(['eth0', '10.0.0.2'], ['docker0', '172.17.0.1'])),
      /^Multiple private IPv4 addresses found\. Please configure one .* Found: 10\.0\.0\.2 on eth0, 172\.17\.0\.1 on docker0$/,
    )
    assert.match(advertised(host(['eth0', '93.184.216.34'])), /^No private IPv4 address found/)
  })

  const news = (bind: string, advertise: string) => {
    const [warnings, notes]: string[][] = [[], []]
    advertiseNews({ bind, advertise, machine: usual, warnings: warnings as string[], notes: notes as string[] })
    return [...(warnings as string[]).map((each) => `warning: ${each}`), ...(notes as string[])].join('\n')
  }
  for (const [bind, advertise, expected] of [
    ['0.0.0.0', '10.0.0.2', /^$/],
    ['127.0.0.1', '127.0.0.1', /^$/],
    ['127.0.0.1', '127.0.0.9', /^$/],
    ['::', '10.0.0.2', /^$/],
    ['::', 'fd00::2', /^$/],
    ['0.0.0.0', '203.0.113.9', /^no interface of this host has the advertised address 203\.0\.113\.9: .*NAT$/],
    ['0.0.0.0', '127.0.0.1', /^warning: the advertised address 127\.0\.0\.1 is a loopback address: .*-advertise$/],
    ['10.0.0.2', 'fd00::2', /^warning: .* of another kind than 10\.0\.0\.2, which this agent listens on/],
    ['fd00::2', '10.0.0.2', /^warning: .* of another kind than fd00::2, which this agent listens on/],
  ] as const) {
    it(`bound to ${bind} and advertised as ${advertise}: ${expected.source === '^$' ? 'nothing to say' : 'said'}`, () => {
      assert.match(news(bind, advertise), expected)
    })
  }
})
